"""Program -> instructions and model file, one folder per chip family."""
