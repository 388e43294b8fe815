"""How scenes are drawn: fonts, sizes, colours, noise, and the worlds from tied to free."""
