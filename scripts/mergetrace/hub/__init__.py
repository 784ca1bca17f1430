"""Models on the Hugging Face Hub, by checked byte ranges."""
