"""What an adversary makes of a trained model: inputs that fool it, and inputs read back from its gradients."""
