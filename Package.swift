// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "diskqueue",
  platforms: [.macOS(.v26)],
  products: [
    .library(name: "DiskQueue", targets: ["DiskQueue"]),
    // For tools that look at a topic without changing it, as `diskq info`, `verify` and `dump` do.
    .library(name: "DiskQueueInspection", targets: ["DiskQueueInspection"]),
    // Uses Foundation. The core does not.
    .library(name: "DiskQueueFoundation", targets: ["DiskQueueFoundation"]),
    // Each depends on another package, and needs the trait of the same name. See below.
    .library(name: "DiskQueueLogging", targets: ["DiskQueueLogging"]),
    .library(name: "DiskQueueMetrics", targets: ["DiskQueueMetrics"]),
    .library(name: "DiskQueueLifecycle", targets: ["DiskQueueLifecycle"]),
    .executable(name: "diskq", targets: ["diskq"]),
  ],
  // A trait decides whether SwiftPM clones a package that the library itself does not need. All are
  // on by default. A program that depends on this package with `traits: []` clones nothing else,
  // and can use DiskQueue, DiskQueueInspection and DiskQueueFoundation.
  traits: [
    .trait(name: "Tool", description: "The command diskq. Needs swift-argument-parser."),
    .trait(name: "Logging", description: "The product DiskQueueLogging. Needs swift-log."),
    .trait(name: "Metrics", description: "The product DiskQueueMetrics. Needs swift-metrics."),
    .trait(
      name: "Lifecycle",
      description: "The product DiskQueueLifecycle. Needs swift-service-lifecycle."),
    .default(enabledTraits: ["Tool", "Logging", "Metrics", "Lifecycle"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    // For tests alone. swift-service-lifecycle depends on it, too.
    .package(url: "https://github.com/apple/swift-async-algorithms", from: "1.1.0"),
  ],
  targets: [
    .systemLibrary(
      name: "CXXHash",
      pkgConfig: "libxxhash",
      providers: [.apt(["libxxhash-dev"]), .brew(["xxhash"])]
    ),
    // Prototypes of Linux calls that Swift's Glibc module does not show.
    .systemLibrary(name: "CLinux"),
    .target(
      name: "DiskQueue",
      dependencies: ["CXXHash", "CLinux"],
      swiftSettings: [
        // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0458-strict-memory-safety.md
        .strictMemorySafety(),
        // Lets a reader lend a record that cannot outlive the next call.
        .enableExperimentalFeature("Lifetimes"),
      ]
    ),
    .target(
      name: "DiskQueueInspection", dependencies: ["DiskQueue"],
      swiftSettings: [.strictMemorySafety(), .enableExperimentalFeature("Lifetimes")]
    ),
    .target(name: "DiskQueueFoundation", dependencies: ["DiskQueue"]),
    .target(
      name: "DiskQueueLogging",
      dependencies: [
        "DiskQueue",
        .product(
          name: "Logging", package: "swift-log", condition: .when(traits: ["Logging"])),
      ]
    ),
    .target(
      name: "DiskQueueMetrics",
      dependencies: [
        "DiskQueue", "DiskQueueInspection",
        .product(
          name: "CoreMetrics", package: "swift-metrics", condition: .when(traits: ["Metrics"])),
      ]
    ),
    .target(
      name: "DiskQueueLifecycle",
      dependencies: [
        "DiskQueue",
        .product(
          name: "ServiceLifecycle", package: "swift-service-lifecycle",
          condition: .when(traits: ["Lifecycle"])),
      ]
    ),
    .executableTarget(
      name: "diskq",
      dependencies: [
        "DiskQueue", "DiskQueueInspection",
        .product(
          name: "ArgumentParser", package: "swift-argument-parser",
          condition: .when(traits: ["Tool"])),
      ]
    ),
    .target(
      name: "DiskQueueTestSupport",
      dependencies: ["DiskQueue", "CXXHash"],
      path: "Tests/DiskQueueTestSupport"
    ),
    // The program of .ci/soak: checks that need real time, real processes and real disks.
    .executableTarget(
      name: "soak",
      dependencies: [
        "DiskQueue",
        .product(
          name: "ArgumentParser", package: "swift-argument-parser",
          condition: .when(traits: ["Tool"])),
      ],
      path: "Tests/Soak"
    ),
    // Tests of the library's promises, by subject. There are four modules, so that four cores can
    // compile them at once.
    .testTarget(
      name: "WritingTests",
      dependencies: ["DiskQueue", "DiskQueueInspection", "DiskQueueTestSupport"]),
    .testTarget(
      name: "ReadingTests",
      dependencies: ["CXXHash", "DiskQueue", "DiskQueueInspection", "DiskQueueTestSupport"]),
    .testTarget(
      name: "ConsumingTests",
      dependencies: [
        "DiskQueue", "DiskQueueInspection", "DiskQueueFoundation", "DiskQueueTestSupport",
      ]),
    // Random programs, crashes, faults and damage at every point. .ci/guarantees runs them in full.
    .testTarget(
      name: "GuaranteeTests",
      dependencies: ["DiskQueue", "DiskQueueInspection", "DiskQueueTestSupport"]),
    .testTarget(
      name: "IntegrationTests",
      dependencies: [
        "DiskQueue", "DiskQueueFoundation", "DiskQueueLifecycle", "DiskQueueLogging",
        "DiskQueueMetrics", "DiskQueueTestSupport",
        .product(
          name: "AsyncAlgorithms", package: "swift-async-algorithms",
          condition: .when(traits: ["Lifecycle"])),
        .product(
          name: "InMemoryLogging", package: "swift-log", condition: .when(traits: ["Logging"])),
        .product(
          name: "MetricsTestKit", package: "swift-metrics", condition: .when(traits: ["Metrics"])),
        .product(
          name: "ServiceLifecycleTestKit", package: "swift-service-lifecycle",
          condition: .when(traits: ["Lifecycle"])),
      ]
    ),
    // Checks how the sources, the pages and the folders look. It reads them as text.
    .testTarget(name: "TidyTests"),
    .testTarget(
      name: "DiskqTests",
      dependencies: [
        "DiskQueue", "DiskQueueInspection", "DiskQueueTestSupport", "diskq",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
  ],
  swiftLanguageModes: [.v6]
)

// For `swift package generate-documentation`. No target depends on it, so no trait can leave it
// out.
if Context.environment["DISKQUEUE_DOCUMENTATION"] != nil {
  package.dependencies.append(
    .package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.5.0"))
}

// The checks in .ci build only the modules of tests that they run. Their names, with spaces
// between.
if let modules = Context.environment["DISKQUEUE_TEST_MODULES"]?.split(separator: " ") {
  package.targets.removeAll { $0.type == .test && !modules.contains(Substring($0.name)) }
}

for target in package.targets where target.type != .system {
  target.swiftSettings =
    (target.swiftSettings ?? []) + [
      .treatAllWarnings(as: .error),
      // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0335-existential-any.md
      .enableUpcomingFeature("ExistentialAny"),
      // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0409-access-level-on-imports.md
      .enableUpcomingFeature("InternalImportsByDefault"),
      // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0444-member-import-visibility.md
      .enableUpcomingFeature("MemberImportVisibility"),
    ]
}
