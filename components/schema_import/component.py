"""TFX's ImportSchemaGen, that sees when the schema's content changes."""

from __future__ import annotations

from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen

from components.schema_import.driver import SchemaDriver


class SchemaImport(ImportSchemaGen):
    """Imports a schema file.

    ImportSchemaGen's cache compares the file's path alone: a schema that was mended in its place would never arrive.

    Outputs:
        schema: the schema as it is in the file.
    """

    DRIVER_CLASS = SchemaDriver
