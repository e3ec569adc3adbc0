#!/usr/bin/env python3
"""Gives a notebook and an MLflow store that `study export` wrote to the programs they are for.

usage: Tests/ExportTests/formats.py NOTEBOOK.ipynb MLRUNS
Needs nbformat, nbconvert and mlflow (from PyPI). Leaves with 1 where one of them finds fault, 77 where one is missing.
"""

import os
import sys

os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
try:
    import mlflow
    import nbformat
    from nbconvert import HTMLExporter
except ImportError as error:
    print(f"{error.name} is not installed: nothing was checked")
    sys.exit(77)

notebook = nbformat.read(sys.argv[1], as_version=4)
nbformat.validate(notebook)
html, _ = HTMLExporter().from_notebook_node(notebook)
print(f"nbformat validates {len(notebook.cells)} cells; nbconvert makes {len(html)} characters of HTML of them")

store = os.path.abspath(sys.argv[2])
mlflow.set_tracking_uri("file://" + store)
runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
assert runs, "MLflow finds no run"
client = mlflow.MlflowClient()
for run in runs:
    points = sum(len(client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics)
    files = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert "README.md" in files, files
    assert "seed" in run.data.params
    print(f"MLflow reads run {run.info.run_name} ({run.info.status}): {len(run.data.metrics)} metrics, {points} points")
