"""What transfer is made of: backbones, their features, their spaces."""
