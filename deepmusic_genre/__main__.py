"""``python -m deepmusic_genre``: the command ``deepmusic``."""

from deepmusic_genre.cli import command

if __name__ == "__main__":
    command()
