"""Where buffers lie in local memory, and when their transfers are issued."""
