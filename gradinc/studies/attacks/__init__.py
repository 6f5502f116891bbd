"""Attacks on a trained model: inputs that fool it, and inputs reconstructed from its gradients."""
