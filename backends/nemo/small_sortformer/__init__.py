"""The small Sortformer: the network that NeMo starts from where no published weights are at hand."""
