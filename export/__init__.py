"""Export: a training run to a bundle that the service reads, behind a parity gate."""
