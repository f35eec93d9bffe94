"""The guide's stack, for `uvicorn benchmarks.peers.apps.guide:app`: the path of a prediction.

FastAPI, SQLAlchemy's async engine on asyncpg with pool_pre_ping, Pydantic in and out, CORS and two
BaseHTTPMiddlewares, and a sum instead of a model. Rewritten from the description in one module.
These changes were needed to start it:

1. `metadata` is a reserved name on SQLAlchemy's declarative classes: the attribute is renamed, the
   column keeps the name.
2. The guide imports a health router that it does not show: here it has one route, for readiness.
3. The lists declare `db` after parameters with defaults, which is a syntax error. They are left out
   together with the reads by id: no prediction uses them.
4. The settings do not read `.env`: the benchmark sets DATABASE_URL and SECRET_KEY.
5. Start and stop print nothing.
"""

import logging
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response, status
from fastapi.middleware.cors import CORSMiddleware
from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings
from sqlalchemy import JSON, DateTime, Float, ForeignKey, Integer, String, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from starlette.middleware.base import BaseHTTPMiddleware

logger = logging.getLogger(__name__)

Next = Callable[[Request], Awaitable[Response]]


class Settings(BaseSettings):
    DATABASE_URL: str
    SECRET_KEY: str
    DB_POOL_SIZE: int = 10
    DB_MAX_OVERFLOW: int = 20
    CORS_ORIGINS: list[str] = ["http://localhost:3000"]


settings = Settings()

engine = create_async_engine(
    settings.DATABASE_URL,
    pool_size=settings.DB_POOL_SIZE,
    max_overflow=settings.DB_MAX_OVERFLOW,
    pool_pre_ping=True,
)
sessions = async_sessionmaker(engine, expire_on_commit=False, autoflush=False)


class Base(DeclarativeBase):
    pass


class ModelVersion(Base):
    __tablename__ = "model_versions"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, index=True)
    name: Mapped[str] = mapped_column(String(100), index=True)
    version: Mapped[str] = mapped_column(String(50))
    framework: Mapped[str] = mapped_column(String(50))
    metrics: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(DateTime, default=datetime.utcnow)
    is_active: Mapped[bool] = mapped_column(default=True)
    predictions: Mapped[list["Prediction"]] = relationship(back_populates="model")


class Prediction(Base):
    __tablename__ = "predictions"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, index=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"), index=True)
    input_data: Mapped[dict[str, Any]] = mapped_column(JSON)
    prediction: Mapped[float] = mapped_column(Float)
    confidence: Mapped[float | None] = mapped_column(Float)
    extra: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSON)
    created_at: Mapped[datetime] = mapped_column(DateTime, default=datetime.utcnow, index=True)
    model: Mapped[ModelVersion] = relationship(back_populates="predictions")


class PredictionInput(BaseModel):
    model_id: int = Field(description="The version to use")
    input_data: dict[str, Any] = Field(description="The features")


class PredictionOutput(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    model_id: int
    prediction: float
    confidence: float | None = None
    created_at: datetime


class ModelVersionCreate(BaseModel):
    name: str = Field(max_length=100)
    version: str = Field(max_length=50)
    framework: str = Field(max_length=50)
    metrics: dict[str, Any] | None = None


class ModelVersionOutput(ModelVersionCreate):
    model_config = ConfigDict(from_attributes=True)

    id: int
    created_at: datetime
    is_active: bool


async def get_db() -> AsyncGenerator[AsyncSession, None]:
    async with sessions() as session:
        try:
            yield session
            await session.commit()
        except Exception:
            # As in the guide: whatever failed, nothing of the request stays, and it fails.
            await session.rollback()
            raise
        finally:
            await session.close()


Database = Annotated[AsyncSession, Depends(get_db)]

health = APIRouter()
models = APIRouter()
predictions = APIRouter()


@health.get("")
async def check_health() -> dict[str, str]:
    return {"status": "ok"}


@models.post("/", status_code=status.HTTP_201_CREATED)
async def create_model(data: ModelVersionCreate, db: Database) -> ModelVersionOutput:
    version = ModelVersion(**data.model_dump())
    db.add(version)
    await db.commit()
    await db.refresh(version)
    return ModelVersionOutput.model_validate(version)


@predictions.post("/", response_model=PredictionOutput, status_code=status.HTTP_201_CREATED)
async def create_prediction(data: PredictionInput, db: Database) -> PredictionOutput:
    query = select(ModelVersion).where(
        ModelVersion.id == data.model_id, ModelVersion.is_active.is_(True)
    )
    if (await db.execute(query)).scalar_one_or_none() is None:
        detail = f"Model {data.model_id} not found or inactive"
        raise HTTPException(status.HTTP_404_NOT_FOUND, detail)
    row = Prediction(
        model_id=data.model_id,
        input_data=data.input_data,
        prediction=sum(data.input_data.get("features", [0])) / 10,
        confidence=0.95,
    )
    db.add(row)
    await db.commit()
    await db.refresh(row)
    return PredictionOutput.model_validate(row)


class RequestIDMiddleware(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Next) -> Response:
        request.state.request_id = request.headers.get("X-Request-ID", str(uuid.uuid4()))
        response = await call_next(request)
        response.headers["X-Request-ID"] = request.state.request_id
        return response


class LoggingMiddleware(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Next) -> Response:
        started = time.time()
        extra = {
            "request_id": getattr(request.state, "request_id", None),
            "method": request.method,
            "path": request.url.path,
        }
        logger.info(f"Request: {request.method} {request.url.path}", extra=extra)  # noqa: G004
        response = await call_next(request)
        duration = time.time() - started
        extra = {
            "request_id": getattr(request.state, "request_id", None),
            "status_code": response.status_code,
            "duration": duration,
        }
        logger.info(f"Response: {response.status_code} ({duration:.3f}s)", extra=extra)  # noqa: G004
        return response


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(title="ML API", version="1.0.0", lifespan=lifespan)
app.add_middleware(
    CORSMiddleware,
    allow_origins=settings.CORS_ORIGINS,
    allow_credentials=True,
    allow_methods=["*"],
    allow_headers=["*"],
)
app.add_middleware(RequestIDMiddleware)
app.add_middleware(LoggingMiddleware)
app.include_router(health, prefix="/health")
app.include_router(predictions, prefix="/api/v1/predictions")
app.include_router(models, prefix="/api/v1/models")
