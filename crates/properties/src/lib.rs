//! Java properties files: the format of zoo.cfg and server.properties.
