"""The world of the quickstart: one look, visual tokens tied to words; and how its base was made."""
