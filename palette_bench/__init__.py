"""The evaluation protocol of *Palette: Image-to-Image Diffusion Models* as software."""

__version__ = "0.1.0"
