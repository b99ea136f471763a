// swift-tools-version: 6.2
import PackageDescription

// A package of its own: what only a benchmark needs is no dependency of the library.
let package = Package(
  name: "diskqueue-benchmarks",
  platforms: [.macOS(.v26)],
  dependencies: [
    .package(name: "diskqueue", path: ".."),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
  ],
  targets: [
    // The library has such a target too, and names of targets are unique among packages.
    .systemLibrary(
      name: "CSystemXXHash",
      pkgConfig: "libxxhash",
      providers: [.apt(["libxxhash-dev"]), .brew(["xxhash"])]
    ),
    .target(name: "CFloor", dependencies: ["CSystemXXHash"]),
    .executableTarget(
      name: "floor",
      dependencies: [
        "CFloor",
        .product(name: "DiskQueue", package: "diskqueue"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: [
        .treatAllWarnings(as: .error),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
      ]
    ),
  ],
  swiftLanguageModes: [.v6]
)
