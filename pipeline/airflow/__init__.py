"""The pipeline on Airflow: a DAG of one task a component.

Airflow and TFX ask for packages that exclude each other, so each has an environment of its own: the DAG file in
``dags/`` knows Airflow only, and its tasks call ``steps`` in TFX's environment.
"""
