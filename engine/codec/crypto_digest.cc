// SPDX-License-Identifier: Apache-2.0
#include "engine/codec/crypto_digest.h"

#include <openssl/evp.h>

#include <new>

namespace grainmill {
namespace {

const EVP_MD* message_digest(CryptoAlgorithm algorithm) {
  return algorithm == CryptoAlgorithm::sha256 ? EVP_sha256() : EVP_blake2b512();
}

}  // namespace

std::string_view crypto_name(CryptoAlgorithm algorithm) {
  switch (algorithm) {
    case CryptoAlgorithm::none:
      return "none";
    case CryptoAlgorithm::blake2b512:
      return "blake2b512";
    case CryptoAlgorithm::sha256:
      return "sha256";
  }
  return "unknown";
}

std::optional<CryptoAlgorithm> crypto_by_name(std::string_view name) {
  for (const CryptoAlgorithm algorithm :
       {CryptoAlgorithm::none, CryptoAlgorithm::blake2b512, CryptoAlgorithm::sha256})
    if (crypto_name(algorithm) == name) return algorithm;
  return std::nullopt;
}

std::size_t crypto_digest_bytes(CryptoAlgorithm algorithm) {
  switch (algorithm) {
    case CryptoAlgorithm::none:
      return 0;
    case CryptoAlgorithm::blake2b512:
      return 64;
    case CryptoAlgorithm::sha256:
      return 32;
  }
  return 0;
}

struct CryptoDigest::State {
  struct Free {
    void operator()(EVP_MD_CTX* owned) const { EVP_MD_CTX_free(owned); }
  };
  CryptoAlgorithm algorithm;
  std::unique_ptr<EVP_MD_CTX, Free> context{EVP_MD_CTX_new()};

  // Neither can fail but for want of memory: both algorithms are built into the library's default
  // provider.
  void start() {
    if (!context || EVP_DigestInit_ex(context.get(), message_digest(algorithm), nullptr) != 1)
      throw std::bad_alloc();
  }
};

CryptoDigest::CryptoDigest(CryptoAlgorithm algorithm) : state_(new State{algorithm}) {
  state_->start();
}
CryptoDigest::~CryptoDigest() = default;
CryptoDigest::CryptoDigest(CryptoDigest&&) noexcept = default;
CryptoDigest& CryptoDigest::operator=(CryptoDigest&&) noexcept = default;

void CryptoDigest::update(std::span<const std::byte> bytes) {
  EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size());
}

void CryptoDigest::finish(std::byte* out) {
  EVP_DigestFinal_ex(state_->context.get(), reinterpret_cast<unsigned char*>(out), nullptr);
  state_->start();
}

}  // namespace grainmill
