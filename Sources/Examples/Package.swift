// swift-tools-version: 6.2
import PackageDescription

let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let diskQueue = Target.Dependency.product(name: "DiskQueue", package: "diskqueue")

// A separate package, so that the library does not depend on packages that only an example needs.
let package = Package(
  name: "diskqueue-examples",
  platforms: [.macOS(.v26)],
  dependencies: [
    // In your own package:
    // .package(
    //   url: "https://github.com/OWNER/diskqueue", .upToNextMinor(from: "0.1.0"), traits: []),
    .package(name: "diskqueue", path: "../.."),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/swhitty/FlyingFox", from: "0.27.1"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ],
  targets: [
    .executableTarget(name: "sensor-logger", dependencies: ["Support", arguments, diskQueue]),
    .executableTarget(
      name: "uploader",
      dependencies: [
        "Support", arguments, diskQueue,
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
      ]),
    .executableTarget(
      name: "collector",
      dependencies: [
        "Support", arguments, diskQueue, .product(name: "FlyingFox", package: "FlyingFox"),
      ]),
    .executableTarget(
      name: "channel",
      dependencies: [
        "Support", arguments, diskQueue,
        .product(name: "DiskQueueFoundation", package: "diskqueue"),
      ]),
    .executableTarget(name: "cleaner", dependencies: ["Support", arguments, diskQueue]),
    .executableTarget(
      name: "service",
      dependencies: [
        "Support", arguments, diskQueue,
        .product(name: "DiskQueueLifecycle", package: "diskqueue"),
        .product(name: "FlyingFox", package: "FlyingFox"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),
    // Shared by several examples.
    .target(
      name: "Support",
      dependencies: [
        diskQueue,
        // SIGTERM and SIGINT as an asynchronous sequence.
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ]),
  ],
  swiftLanguageModes: [.v6]
)

for target in package.targets {
  target.swiftSettings = [.treatAllWarnings(as: .error)]
}
