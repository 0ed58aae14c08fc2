"""Moving figures: alive in JupyterLab and, without a kernel, in the built page.

base               BookWidget: what every figure inherits
kit                shared script, style sheet and palette
cud_trajectories   chapter 1: OdeTrajectories, particles carried from noise to data by networks that run in the browser
cud_digits         chapter 1: DigitTrajectories, images on their way from noise to digit
quality_curves     QualityCurves, quality against network calls, for any chapter that trades one for the other
mlp                a small network as bytes for a script, and its NumPy twin
png                a PNG from an array, for the stills
"""
