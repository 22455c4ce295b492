"""The compiler: model file -> Top graph -> calibrated -> quantised Tpu graph -> program -> model file."""
