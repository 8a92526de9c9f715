// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/codec/crypto_digest.h"
#include "engine/format/sink.h"
#include "engine/map/chain_map.h"
#include "pipeline/unit.h"

namespace grainmill {

// The stages of a grain's life, as plain functions: each takes a unit, does its part and leaves an
// error in unit.status. A unit with an error, and one that is zero as a whole, passes through
// untouched. The graph wires them; tests call them. Threads: any number at once, each on a unit of
// its own.

// Reads all that the unit's extents store: plain data to its place in unit.guest, deflated grains
// to unit.stored, blocks that lie side by side in one call.
void fetch(Unit& unit);

// Inflates grains to their place (the link that stores one knows how, and checks it), and fills
// what is zero.
void decode(Unit& unit, const ChainMap& map);

// Fills unit.records (and unit.leaves, for an algorithm other than none): which digest grains are
// zero, digests of the others.
void digest(Unit& unit, CryptoAlgorithm algorithm);

// Makes unit.piece of the unit and has it encoded: unit.piece.blocks is what must be stored.
void encode(Unit& unit, const SinkShape& shape);

// Has the sink give the blocks their places. One unit at a time, in guest order.
void place(Unit& unit, Sink& sink);

// Writes the blocks; those that lie side by side, in memory as in the file, in one call.
void write(Unit& unit);

// Writes what can be written beside other writers of the same files; the rest is left to write().
void write_beside(Unit& unit);

// After a failure, the same for each digest grain by itself: fills unit.records and
// unit.grain_errors for every grain and clears unit.status, so that one bad sector is told apart
// from its neighbours. A unit without extents is lost as a whole.
void salvage(Unit& unit, const ChainMap& map, CryptoAlgorithm algorithm);

// After a failure: all of the unit is unreadable, and reads as zeros.
void give_up(Unit& unit);

}  // namespace grainmill
