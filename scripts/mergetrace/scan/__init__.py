"""From one suspect to candidates: small prints of many models, looked up and explained."""
