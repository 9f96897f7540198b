//! A ZooKeeper client: session core and tokio shell, with recipes.
