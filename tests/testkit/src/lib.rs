//! Starts servers, originals and clients for the tests.
