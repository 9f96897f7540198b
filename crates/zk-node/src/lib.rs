//! The life of a request on one coordination server: decide, record, apply, reply.
