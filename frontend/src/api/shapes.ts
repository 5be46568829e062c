// The bodies the studio's API speaks, by the names the dashboard uses. All of them are generated from its schema.

import type { components } from "./types";

type Schemas = components["schemas"];

export type ErrorBody = Schemas["Refusal"];
/** The code of a sentence that came in English, and what it names. */
export type Told = Schemas["ToldOutput"];

export type Language = Schemas["LanguageEnum"];
export type Theme = Schemas["ThemeEnum"];
export type Role = Schemas["PersonRoleEnum"];
export type Status = Schemas["RunStatusEnum"];
export type SpecValue = Schemas["JobOutput"]["spec"];

export interface Page<T> {
  count: number;
  page: number;
  page_size: number;
  results: T[];
}

export type Me = Schemas["MeOutput"];
export type Token = Schemas["TokenOutput"];
export type NewToken = Schemas["TokenCreatedOutput"];
export type ApiKey = Schemas["ApiKeyOutput"];
export type NewApiKey = Schemas["ApiKeyCreatedOutput"];
export type DayUse = Schemas["DayUseOutput"];
export type ServingSettings = Schemas["ServingSettingsOutput"];
export type ServingSettingsLine = Schemas["ServingSettingsLineOutput"];
export type ServingFlavor = Schemas["ServingFlavorOutput"];
export type Rollout = Schemas["RolloutOutput"];
export type DeploymentHealth = Schemas["DeploymentHealthOutput"];
export type User = Schemas["UserOutput"];
export type SigninLink = Schemas["SigninLinkOutput"];

export type Organization = Schemas["OrganizationOutput"];
export type OrganizationDetail = Schemas["OrganizationDetailOutput"];
export type OrganizationMember = Schemas["OrganizationMemberOutput"];
/** As Hugging Face's API has it; that door is not in our schema. */
export interface AccessWish {
  requestId: string;
  user: { user: string; fullname: string };
  status: "pending" | "accepted" | "rejected";
  timestamp: string;
}

export type Points = Schemas["PointsOutput"];
export type Statement = Schemas["StatementOutput"];
export type StatementLine = Schemas["StatementLineOutput"];

export type Flavor = Schemas["FlavorOutput"];
export type MachineFlavor = Schemas["MachineFlavorChoiceOutput"];
export type Node = Schemas["NodeOutput"];
export type NodeDevice = Node["devices"][number];
export type NodeHolding = Node["holdings"][number];
export type JoinToken = Schemas["JoinTokenOutput"];
export type NewJoinToken = Schemas["NewJoinTokenOutput"];
export type RegisteredImage = Schemas["RegisteredImageOutput"];
export type SharedRepo = Schemas["SharedRepoOutput"];

export type Repo = Schemas["RepoOutput"];
export type RepoDetail = Schemas["RepoDetailOutput"];
export type QualityReport = Schemas["QualityReportOutput"];
export type Facets = Schemas["FacetsOutput"];
export type Tables = Schemas["ViewerTablesOutput"];
export type TablePage = Schemas["ViewerPageOutput"];
export type TableCell = Schemas["ViewerCellOutput"];
export type TableStatistics = Schemas["ViewerStatisticsOutput"];
export type TableColumn = Schemas["ViewerColumnOutput"];
export type RepoFile = Schemas["RepoFileOutput"];
export type FolderEntry = Schemas["FolderEntryOutput"];
export type FolderPage = Schemas["FolderPageOutput"];
export type HistoryLine = Schemas["HistoryLineOutput"];
export type HistoryPage = Schemas["HistoryPageOutput"];
export type CommitDetail = Schemas["CommitOutput"];
export type FileChange = Schemas["FileChangeOutput"];
export type FileDiff = Schemas["FileDiffOutput"];
export type TensorPage = Schemas["TensorPageOutput"];
export type Tensor = Schemas["TensorOutput"];
export type Losses = Schemas["LossesOutput"];
export type RowProblem = Schemas["RowProblemOutput"];
export type DatasetReport = Schemas["DatasetReportOutput"];
export type DatasetRow = Schemas["DatasetRowOutput"];
export type DatasetRows = Schemas["DatasetRowsOutput"];

export type DriveUse = Schemas["DriveUseOutput"];
export type DriveEntry = Schemas["DriveEntryOutput"];
export type DriveList = Schemas["DriveListOutput"];
export type DriveTree = Schemas["DriveTreeOutput"];
export type DriveFound = Schemas["DriveFoundOutput"];
export type DrivePreview = Schemas["DrivePreviewOutput"];
export type DriveTrashEntry = Schemas["DriveTrashOutput"];
export type DriveShare = Schemas["DriveShareOutput"];
export type DriveNewShare = Schemas["DriveShareCreatedOutput"];
export type DriveShared = Schemas["DriveSharedOutput"];
export type DriveWork = Schemas["DriveWorkOutput"];
export type DriveHealth = Schemas["DriveHealthOutput"];

export type Import = Schemas["ImportOutput"];

export type SpecInfo = Schemas["SpecOutput"];
export type SuitedDataset = Schemas["SuitedOutput"];
export type Preview = Schemas["PreviewOutput"];
export type Inspection = Schemas["InspectionOutput"];
export type ShownSample = Schemas["ShownSampleOutput"];
export type FileContract = Schemas["FileContractOutput"];
export type Estimate = Schemas["JobEstimateOutput"];
export type Refusal = Schemas["RefusalOutput"];
export type Job = Schemas["JobOutput"];
export type Progress = Schemas["JobProgressOutput"];
export type Run = Schemas["RunOutput"];
export type RunEvent = Schemas["RunEventOutput"];
export type Artifact = Schemas["RunArtifactOutput"];
export type Metrics = Schemas["RunMetricsOutput"];
export type Sample = Schemas["RunSampleOutput"];
export type LogPage = Schemas["RunLogOutput"];
export type LogMatches = Schemas["RunLogSearchOutput"];

export type PlaygroundModel = Schemas["PlaygroundModelOutput"];
export type ChatSettings = Schemas["ChatSettingsOutput"];
export type ChatMessage = Schemas["ChatMessageOutput"];
export type ConversationHead = Schemas["ConversationHeadOutput"];
export type Conversation = Schemas["ConversationOutput"];
export type Deployment = Schemas["DeploymentOutput"];

export type Labelling = Schemas["LabellingOutput"];
export type LabellingDetail = Schemas["LabellingDetailOutput"];
export type LabelKind = Schemas["LabelKindEnum"];
export type LabelWork = Schemas["LabelWorkOutput"];
export type LabelNext = Schemas["LabelNextOutput"];
export type LabelTurn = Schemas["TurnOutput"];
export type LabelSpan = Schemas["SpanOutput"];
export type LabelFigures = Schemas["LabelFiguresOutput"];
export type LabelDispute = Schemas["LabelDisputeOutput"];
export type LabelRow = Schemas["LabelRowOutput"];
export type LabelSaved = Schemas["LabelSavedOutput"];
export type Drafting = Schemas["DraftingOutput"];
export type DraftingCost = Schemas["DraftingCostOutput"];

export type Machine = Schemas["MachineOutput"];
export type MachineOptions = Schemas["MachineOptionsOutput"];
export type SavedImage = Schemas["SavedImageOutput"];
export type MachineIdle = Schemas["MachineIdleOutput"];
export type MachineUsage = Schemas["MachineUsageOutput"];
export type MachinePort = Schemas["MachinePortOutput"];
export type SshKey = Schemas["SshKeyOutput"];
export type MadeSshKey = Schemas["SshKeyMadeOutput"];
