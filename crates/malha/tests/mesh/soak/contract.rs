//! The contract of both services: the greeter's, offered a second time by one that is erratic.

use testkit::greeter;

const ERRATIC: &str = r#"
// The same, of a service that cannot be relied upon.
service ErraticService {
  rpc SayHello(SayHelloRequest) returns (SayHelloResponse) {
    option (google.api.http) = {
      get: "/erratic/hello/{name}"
      additional_bindings {
        post: "/erratic/hello"
        body: "*"
      }
    };
  }
  rpc SayHellos(SayHellosRequest) returns (stream SayHelloResponse) {
    option (google.api.http) = {get: "/erratic/hellos/{name}"};
  }
}
"#;

/// A descriptor set; `round` changes the name of a method that nobody calls.
pub(super) fn descriptors(round: usize) -> Vec<u8> {
    let farewell = format!("rpc SayGoodbye{round}(");
    let text = greeter::PROTO.replace("rpc SayGoodbye(", &farewell) + ERRATIC;
    greeter::compile("soak.proto", &text)
}
