"""The YAML files that a person would run; a bare name after --config is looked up here."""
