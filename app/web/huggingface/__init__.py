"""Bodies of Hugging Face's inference clients, `{"inputs": ..., "parameters": {...}}`, at `POST /generate/{model_name}`."""
