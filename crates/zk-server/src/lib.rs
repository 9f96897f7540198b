//! The coordination server's shell: configuration, listeners, connections, threads, four-letter words.
