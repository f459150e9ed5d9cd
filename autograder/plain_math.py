"""TeX in running text as plain characters, for places where nothing typesets it: a table in a notebook, a terminal."""

from __future__ import annotations

import re

_WORDS = {
    "sum": "Σ", "prod": "Π", "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "Delta": "Δ", "epsilon": "ε",
    "varepsilon": "ε", "lambda": "λ", "mu": "μ", "pi": "π", "sigma": "σ", "theta": "θ", "phi": "φ", "times": "×",
    "cdot": "·", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "approx": "≈", "to": "→",
    "infty": "∞", "mid": "|", "vert": "|", "lvert": "|", "rvert": "|", "in": "∈", "ldots": "…", "dots": "…",
    "cdots": "⋯", "pm": "±", "propto": "∝", "sqrt": "√", "log": "log", "ln": "ln", "exp": "exp", "max": "max",
    "min": "min", "lbrace": "{", "rbrace": "}", "quad": " ", "qquad": " ", "colon": ":", "partial": "∂", "ell": "ℓ",
}
_WRAPPERS = r"\\(?:text|mathrm|mathit|mathbf|mathtt|texttt|operatorname|mathcal|mathbb|bar|tilde)\*?\{([^{}]*)\}"


def plain_math(tex: str) -> str:
    r"""A formula in characters that every screen has: close enough to be read, not to be printed.

    >>> plain_math(r"\frac{c(h, w)}{\sum_{v} c(h, v)} \le 1")
    'c(h, w)/(Σ_v c(h, v)) ≤ 1'
    >>> plain_math(r"p(\text{warehouse} \mid \text{left}) = 3/6")
    'p(warehouse | left) = 3/6'
    >>> plain_math(r"\mathrm{KL}(\hat p \,\|\, p)")
    'KL(p̂ ‖ p)'
    """
    text = tex.strip().replace(r"\|", "‖")
    text = re.sub(r"\\hat\s*(?:\{(\w)\}|(\w))", lambda m: f"{m[1] or m[2]}\u0302", text)
    for _ in range(6):  # from the inside out
        before = text
        text = re.sub(_WRAPPERS, r"\1", text)
        text = re.sub(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", lambda m: f"{_grouped(m[1])}/{_grouped(m[2])}", text)
        text = re.sub(r"([_^])\{([^{}]*)\}", lambda m: m[1] + (m[2] if len(m[2]) == 1 else f"({m[2]})"), text)
        if text == before:
            break
    text = re.sub(r"\\(?:left|right|big|Big|bigl|bigr|,|;|!|:)(?![a-zA-Z])", "", text)
    text = re.sub(r"\\([a-zA-Z]+)", lambda m: _WORDS.get(m[1], m[1]), text)
    text = re.sub(r"\\([{}%$#&_ ])", r"\1", text).replace("{", "").replace("}", "")
    text = re.sub(r"([_^])\(([A-Za-z0-9])\)", r"\1\2", text)
    return re.sub(r"\s+", " ", text).strip()


def _grouped(part: str) -> str:
    """A numerator or denominator, in parentheses where it would fall apart without them."""
    part = part.strip()
    return f"({part})" if re.search(r"[+\-= ]|\\sum|\\prod", re.sub(r"\([^()]*\)", "", part)) else part
