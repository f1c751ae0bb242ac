"""Importers: models of other tools to bundles, behind the same parity gate as our own runs.

One file a tool: `dlc` (DeepLabCut 3 snapshots and exported models), `deepethogram` (projects),
`sleap` (SLEAP-NN export folders), `lightning_pose` (model folders with an ONNX export) and
`described` (any ONNX file with a description of its tensors). Weights are read by `weights`,
which never runs what a file says; graphs of other tools are wrapped by `surgery`. To add a tool:
write a module with `draft_bundle(source, folder, options) -> BundleDraft`, add its branch to
`export.commands.import_`, and tests with files made as the tool writes them.
"""
