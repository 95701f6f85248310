"""What the handlers of this dialect receive."""

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from ...domain.models.catalogue import Catalogue, Catalogues
from ...domain.placement.model_pool import ModelPool
from ..api.service import ServiceFacts
from .sessions import Sessions

CataloguePort = NamedDependency[SkipValidation[Catalogue]]
CataloguesPort = NamedDependency[SkipValidation[Catalogues]]
Remembered = NamedDependency[SkipValidation[Sessions]]
Facts = NamedDependency[SkipValidation[ServiceFacts]]
Pool = NamedDependency[SkipValidation[ModelPool]]
