"""Pictures that vary, worlds from tied to free, and a base whose vision is trained by language loss."""
