// swift-tools-version: 6.2
import PackageDescription

// This is a package of its own, because a package with unsafe flags cannot be a dependency. It
// builds the library and the program once more, from links to their sources. They have to be
// instrumented to show the fuzzer which parts an input reaches.
let sanitizers = "-sanitize=fuzzer,address"

let package = Package(
  name: "diskqueue-fuzz",
  platforms: [.macOS(.v26)],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
  ],
  targets: [
    .systemLibrary(
      name: "CXXHash",
      pkgConfig: "libxxhash",
      providers: [.apt(["libxxhash-dev"]), .brew(["xxhash"])]
    ),
    .systemLibrary(name: "CLinux"),
    .target(
      name: "DiskQueue",
      dependencies: ["CXXHash", "CLinux"],
      swiftSettings: [.strictMemorySafety(), .enableExperimentalFeature("Lifetimes")]
    ),
    .target(
      name: "DiskQueueInspection",
      dependencies: ["DiskQueue"],
      swiftSettings: [.strictMemorySafety(), .enableExperimentalFeature("Lifetimes")]
    ),
    .target(
      name: "diskq",
      dependencies: [
        "DiskQueue", "DiskQueueInspection",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      // Here the program is a library, so its `main` gets a name that is never called.
      swiftSettings: [
        .unsafeFlags(["-Xfrontend", "-entry-point-function-name", "-Xfrontend", "diskq_main"])
      ]
    ),
    .target(
      name: "FuzzSupport", dependencies: ["DiskQueue", "DiskQueueInspection", "CXXHash"]),
    .executableTarget(name: "FuzzSlab", dependencies: ["FuzzSupport"]),
    .executableTarget(
      name: "FuzzCursor", dependencies: ["DiskQueue", "DiskQueueInspection", "FuzzSupport"]),
    .executableTarget(name: "FuzzVersion1", dependencies: ["FuzzSupport"]),
    .executableTarget(
      name: "FuzzArguments",
      dependencies: [
        "DiskQueue", "FuzzSupport", "diskq",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]
    ),
    // Writes the seeds that are generated, not found. See README.md.
    .executableTarget(name: "Seeds"),
  ],
  swiftLanguageModes: [.v6]
)

for target in package.targets where target.type != .system && target.name != "Seeds" {
  target.swiftSettings =
    (target.swiftSettings ?? []) + [
      // The fuzzer is to explore the library and the program, not the code that examines them.
      .unsafeFlags([
        target.name == "FuzzSupport" ? "-sanitize=address" : sanitizers, "-enable-testing",
      ]),
      .treatAllWarnings(as: .error),
      .enableUpcomingFeature("ExistentialAny"),
      .enableUpcomingFeature("InternalImportsByDefault"),
      .enableUpcomingFeature("MemberImportVisibility"),
    ]
  if target.type == .executable {
    // The default linker cannot read what the sanitizers add.
    target.linkerSettings = [.unsafeFlags([sanitizers, "-use-ld=lld"])]
  }
}
