"""Building blocks of transfer learning: backbones, their features, their search spaces."""
