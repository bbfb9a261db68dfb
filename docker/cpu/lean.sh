#!/usr/bin/env bash
# Usage: lean.sh VENV - takes out of a stand-in's environment what a text model on a CPU never uses.
set -euo pipefail
cd "$(echo "$1"/lib/python3*/site-packages)"

# Video decoding, and every package's own tests.
rm -rf cv2 opencv_python_headless.libs
find . -type d -name tests -prune -exec rm -rf {} +

# NIXL's expert-parallel kernels are for GPUs; PyTorch's tests, headers and test programs are for its developers.
rm -rf nixl_ep nixl_ep_cu12 torch/test torch/include torch/bin/*[Tt]est* torch/bin/protoc* torch/share

# Symbols of native code: half a gigabyte, read by debuggers alone. Only named files: stripping can break those that
# a wheel's repair tool has rewritten.
for file in vllm/*.so llvmlite/binding/libllvmlite.so uvloop/*.so torch/lib/libtorch_cpu.so torch/lib/libtorch_python.so vllm_router_rs.abi3.so; do
    [ ! -f "$file" ] || strip --strip-unneeded --preserve-dates "$file"
done

# vLLM's native code wants the system's libnuma, which slim bases lack; NIXL's wheel carries one.
mkdir -p "$1/lib/native"
ln -s "$(cd nixl_cu12.libs && echo "$PWD"/libnuma-*.so.1*)" "$1/lib/native/libnuma.so.1"
