#!/usr/bin/env python3
"""Kubernetes' schemas as kubeconform takes them from a folder: schemas.py FOLDER VERSION...

The package kubernetes-validate has them, with addresses of the web in them; the network is not asked.
"""

import json
import pathlib
import sys

import kubernetes_validate

PACKAGE = pathlib.Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"

for version in sys.argv[2:]:
    source = PACKAGE / f"v{version}-local-strict"
    target = pathlib.Path(sys.argv[1]) / f"v{version}-standalone-strict"
    target.mkdir(parents=True, exist_ok=True)
    for file in source.glob("*.json"):
        schema = json.loads(file.read_text().replace('"/api/_definitions.json#', '"_definitions.json#'))
        schema.pop("$id", None)
        (target / file.name).write_text(json.dumps(schema))
