//! Consumer groups and their offsets, replicated by records in an internal topic.
