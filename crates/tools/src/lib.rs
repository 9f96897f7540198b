//! Every command line tool, one file each.
