"""The processes of the router benchmark. They run in the engine's environment, which has uvloop, httptools,
FastAPI and httpx (vLLM serves with them); nothing else of the kit imports these modules."""
