// swift-tools-version: 6.2
import PackageDescription

// A package of its own: a package with unsafe flags can be nobody's dependency. The library and the
// program are built here once more, from links to their sources, as they have to be instrumented to
// show the fuzzer where it comes to.
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
      name: "diskq",
      dependencies: [
        "DiskQueue",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      // It is a library here, and its `main` nobody's.
      swiftSettings: [
        .unsafeFlags(["-Xfrontend", "-entry-point-function-name", "-Xfrontend", "diskq_main"])
      ]
    ),
    .target(name: "FuzzSupport", dependencies: ["DiskQueue", "CXXHash"]),
    .executableTarget(name: "FuzzSlab", dependencies: ["FuzzSupport"]),
    .executableTarget(name: "FuzzCursor", dependencies: ["DiskQueue", "FuzzSupport"]),
    .executableTarget(name: "FuzzVersion1", dependencies: ["FuzzSupport"]),
    .executableTarget(
      name: "FuzzArguments",
      dependencies: [
        "DiskQueue", "FuzzSupport", "diskq",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]
    ),
    // Makes the seeds that are made, and not found: see README.md.
    .executableTarget(name: "Seeds"),
  ],
  swiftLanguageModes: [.v6]
)

for target in package.targets where target.type != .system && target.name != "Seeds" {
  target.swiftSettings =
    (target.swiftSettings ?? []) + [
      // Where the fuzzer is to come to is the library and the program, not what examines them.
      .unsafeFlags([
        target.name == "FuzzSupport" ? "-sanitize=address" : sanitizers, "-enable-testing",
      ]),
      .treatAllWarnings(as: .error),
      .enableUpcomingFeature("ExistentialAny"),
      .enableUpcomingFeature("InternalImportsByDefault"),
      .enableUpcomingFeature("MemberImportVisibility"),
    ]
  if target.type == .executable {
    // The linker that is used else cannot read what the sanitizers add.
    target.linkerSettings = [.unsafeFlags([sanitizers, "-use-ld=lld"])]
  }
}
