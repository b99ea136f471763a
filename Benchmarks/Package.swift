// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

// A separate package, so that the benchmarks' dependencies are not dependencies of the library.
let package = Package(
  name: "diskqueue-benchmarks",
  platforms: [.macOS(.v26)],
  dependencies: [
    .package(name: "diskqueue", path: ".."),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
  ],
  targets: [
    // The library has such a target too, but target names must be unique among all packages.
    .systemLibrary(
      name: "CSystemXXHash",
      pkgConfig: "libxxhash",
      providers: [.apt(["libxxhash-dev"]), .brew(["xxhash"])]
    ),
    .systemLibrary(
      name: "CSystemLMDB",
      pkgConfig: "lmdb",
      providers: [.apt(["liblmdb-dev"]), .brew(["lmdb"])]
    ),
    // LevelDB and RocksDB are used through their C interfaces. LevelDB has no file for pkg-config.
    .systemLibrary(
      name: "CSystemLevelDB",
      providers: [.apt(["libleveldb-dev"]), .brew(["leveldb"])]
    ),
    .systemLibrary(
      name: "CSystemRocksDB",
      pkgConfig: "rocksdb",
      providers: [.apt(["librocksdb-dev"]), .brew(["rocksdb"])]
    ),
    .systemLibrary(
      name: "CSystemSQLite",
      pkgConfig: "sqlite3",
      providers: [.apt(["libsqlite3-dev"]), .brew(["sqlite"])]
    ),

    .target(name: "CFloor", dependencies: ["CSystemXXHash"]),
    .target(
      name: "CPeers",
      dependencies: ["CSystemLMDB", "CSystemLevelDB", "CSystemRocksDB", "CSystemSQLite"],
      // LevelDB has no file for pkg-config, which would name the library.
      linkerSettings: [.linkedLibrary("leveldb")]
    ),
    // The parts that every measurement needs: the directory, the description of the machine,
    // medians, the floor, and the calls into the library.
    .target(
      name: "Harness",
      dependencies: ["CFloor", .product(name: "DiskQueue", package: "diskqueue")],
      swiftSettings: strict
    ),
    // The results of a run, as JSON and as a page, and quotations of them in other pages.
    .target(name: "Report", dependencies: ["Harness"], swiftSettings: strict),
    // Keeps the figures in the pages equal to the results. It needs no peer.
    .executableTarget(
      name: "figures",
      dependencies: [
        "Report", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict
    ),
    // The guard against slow-downs. It needs no peer.
    .executableTarget(
      name: "floor",
      dependencies: [
        "Harness",
        .product(name: "DiskQueue", package: "diskqueue"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict
    ),
    // The work for other processes: one that is killed, and ones whose memory or processor time is
    // measured. They contain only the library.
    .executableTarget(
      name: "worker",
      dependencies: [.product(name: "DiskQueue", package: "diskqueue")],
      swiftSettings: strict
    ),
    // The comparison that prints the whole table.
    .executableTarget(
      name: "compare",
      dependencies: [
        "CPeers", "Harness", "Report",
        .product(name: "DiskQueue", package: "diskqueue"),
        .product(name: "Histogram", package: "hdrhistogram-swift"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict
    ),
  ],
  swiftLanguageModes: [.v6]
)
