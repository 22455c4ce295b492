"""The three verbs: transform, calibrate, deploy (the commands of the same meaning are thin
shells)."""
