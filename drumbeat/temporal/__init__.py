"""The shared Temporal plumbing: connecting, search attributes, the recording interceptor."""
