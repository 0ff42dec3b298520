//! JSON ⇄ protobuf wire bytes, planned once per message from descriptors.
