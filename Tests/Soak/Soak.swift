// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The checks that `.ci/soak` and `.ci/crash` run. They test parts of the contract that need real
/// time, processes and disks.
///
/// A check prints one line with its measurements and exits with 0. If something breaks, it prints
/// the fault and exits with 1. Nothing here imports Foundation, because one of the checks measures
/// the memory of this program.
@main
struct Soak: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "soak",
    abstract:
      "Checks that need real time, real processes and real disks; see .ci/soak and .ci/crash.",
    subcommands: [
      GroupCommit.self, Channel.self, ChannelKill.self, ChannelKillVictim.self, ConsumerKill.self,
      ConsumerKillWriter.self, ConsumerKillVictim.self,
      Cap.self, FullDisk.self, Cleaning.self, CleaningReader.self, CleaningLoop.self,
      CrashPoints.self, CrashRandom.self, CrashTable.self, CrashVictim.self, Inject.self,
      OpenRace.self, OpenRacer.self, Crowd.self, CrowdWriter.self,
      DamageCosts.self, Stuck.self, StuckVictim.self,
    ])

  static func main() async {
    Posix.ignoreClosedPipes()
    do {
      try Posix.dieWithParent()
      var command = try parseAsRoot()
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch let error as Broken {
      Posix.complain("\(error.description); longest sync \(Figures.milliseconds(Syncs.longest))")
      Posix.leave(1)
    } catch {
      exit(withError: error)
    }
  }
}
