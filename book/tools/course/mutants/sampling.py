"""Wrong answers to assignment 2, diffusion and sampling, and the cells that each must lose."""

from book.tools.course.mutants.mutant import mutants_of

MUTANTS = mutants_of(
    "2_diffusion_and_sampling",
    ("sigma^2 for sigma", "noised", "sigma.reshape", "(sigma**2).reshape", "hidden_noised"),
    (
        "a level for each column",
        "noised",
        "sigma.reshape(-1, *[1] * (x.ndim - 1))",
        "sigma",
        "test_noised hidden_noised",
    ),
    ("no noise", "noised", " * noise", " * 0", "test_noised hidden_noised"),
    (
        "sigma for sigma^2",
        "best_denoiser",
        "(2 * sigma**2)",
        "(2 * sigma)",
        "test_best_denoiser hidden_best_denoiser hidden_best_denoiser_extremes",
    ),
    (
        "films equally likely",
        "best_denoiser",
        "np.log(shares) - distance2",
        "-distance2",
        "hidden_best_denoiser hidden_best_denoiser_extremes",
    ),
    (
        "exponents that overflow",
        "best_denoiser",
        "exponent -= exponent.max(axis=1, keepdims=True)",
        "pass",
        "hidden_best_denoiser_extremes",
    ),
    (
        "the skip of data with deviation 1",
        "network_question",
        "x - SIGMA_DATA**2 / total * z",
        "x - 1 / (sigma**2 + 1) * z",
        "test_network_question hidden_network_question",
    ),
    (
        "the other sign of c_out",
        "network_question",
        "(sigma * SIGMA_DATA / np.sqrt(total))",
        "(-sigma * SIGMA_DATA / np.sqrt(total))",
        "hidden_network_question",
    ),
    (
        "no level 0",
        "noise_levels",
        "np.append(np.linspace(HIGHEST ** (1 / RHO), LOWEST ** (1 / RHO), steps) ** RHO, 0.0)",
        "np.linspace(HIGHEST ** (1 / RHO), LOWEST ** (1 / RHO), steps) ** RHO",
        "test_noise_levels hidden_noise_levels",
    ),
    (
        "levels even in their logarithm",
        "noise_levels",
        "np.linspace(HIGHEST ** (1 / RHO), LOWEST ** (1 / RHO), steps) ** RHO",
        "np.geomspace(HIGHEST, LOWEST, steps)",
        "hidden_noise_levels",
    ),
    (
        "Euler step with the wrong sign",
        "euler_walk",
        "(after - now) * slope",
        "(now - after) * slope",
        "test_euler_walk hidden_euler_walk",
    ),
    (
        "the denoiser asked at the next level",
        "euler_walk",
        "denoiser(z, now)",
        "denoiser(z, after)",
        "hidden_euler_walk",
    ),
    (
        "Heun with the first slope only",
        "heun_step",
        "(slope + (guess - denoiser(guess, after)) / after) / 2",
        "slope",
        "hidden_heun_step",
    ),
    ("division by level 0", "heun_step", "if after == 0:", "if after < 0:", "test_heun_step"),
    ("sigma for sigma^2 by hand", "answer_in_numbers", "SIGMA_DATA**2", "SIGMA_DATA", "hidden_answer_in_numbers"),
)
