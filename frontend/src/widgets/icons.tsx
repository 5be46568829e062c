// The icons the dashboard draws. They stand beside words, so readers of the page by ear are not told them;
// one that stands alone gets a label where it is used.

import type { AntdIconProps } from "@ant-design/icons/es/components/AntdIcon";
import {
  ApartmentOutlined as ApartmentOutlinedDrawn,
  AppstoreOutlined as AppstoreOutlinedDrawn,
  BranchesOutlined as BranchesOutlinedDrawn,
  CheckCircleFilled as CheckCircleFilledDrawn,
  CheckOutlined as CheckOutlinedDrawn,
  ClockCircleOutlined as ClockCircleOutlinedDrawn,
  CloseCircleFilled as CloseCircleFilledDrawn,
  CloudServerOutlined as CloudServerOutlinedDrawn,
  CodeOutlined as CodeOutlinedDrawn,
  CopyOutlined as CopyOutlinedDrawn,
  DatabaseOutlined as DatabaseOutlinedDrawn,
  DeleteOutlined as DeleteOutlinedDrawn,
  DeploymentUnitOutlined as DeploymentUnitOutlinedDrawn,
  DownOutlined as DownOutlinedDrawn,
  DownloadOutlined as DownloadOutlinedDrawn,
  EditOutlined as EditOutlinedDrawn,
  EyeInvisibleOutlined as EyeInvisibleOutlinedDrawn,
  EyeOutlined as EyeOutlinedDrawn,
  FireFilled as FireFilledDrawn,
  FireOutlined as FireOutlinedDrawn,
  FileOutlined as FileOutlinedDrawn,
  FileZipOutlined as FileZipOutlinedDrawn,
  FolderAddOutlined as FolderAddOutlinedDrawn,
  FolderOpenOutlined as FolderOpenOutlinedDrawn,
  FolderOutlined as FolderOutlinedDrawn,
  LinkOutlined as LinkOutlinedDrawn,
  PlayCircleOutlined as PlayCircleOutlinedDrawn,
  GlobalOutlined as GlobalOutlinedDrawn,
  HighlightOutlined as HighlightOutlinedDrawn,
  HeartFilled as HeartFilledDrawn,
  HeartOutlined as HeartOutlinedDrawn,
  HistoryOutlined as HistoryOutlinedDrawn,
  HomeOutlined as HomeOutlinedDrawn,
  InboxOutlined as InboxOutlinedDrawn,
  LoadingOutlined as LoadingOutlinedDrawn,
  LockOutlined as LockOutlinedDrawn,
  MenuFoldOutlined as MenuFoldOutlinedDrawn,
  MenuOutlined as MenuOutlinedDrawn,
  MenuUnfoldOutlined as MenuUnfoldOutlinedDrawn,
  MessageOutlined as MessageOutlinedDrawn,
  MoonOutlined as MoonOutlinedDrawn,
  MoreOutlined as MoreOutlinedDrawn,
  PauseCircleOutlined as PauseCircleOutlinedDrawn,
  PlusOutlined as PlusOutlinedDrawn,
  RedoOutlined as RedoOutlinedDrawn,
  RightCircleOutlined as RightCircleOutlinedDrawn,
  SafetyCertificateOutlined as SafetyCertificateOutlinedDrawn,
  SearchOutlined as SearchOutlinedDrawn,
  SettingOutlined as SettingOutlinedDrawn,
  StopOutlined as StopOutlinedDrawn,
  SunOutlined as SunOutlinedDrawn,
  TeamOutlined as TeamOutlinedDrawn,
  UpOutlined as UpOutlinedDrawn,
  UploadOutlined as UploadOutlinedDrawn,
  UserAddOutlined as UserAddOutlinedDrawn,
  UserOutlined as UserOutlinedDrawn,
  VerticalAlignBottomOutlined as VerticalAlignBottomOutlinedDrawn,
  WalletOutlined as WalletOutlinedDrawn,
  WarningOutlined as WarningOutlinedDrawn,
  ArrowLeftOutlined as ArrowLeftOutlinedDrawn,
  ArrowUpOutlined as ArrowUpOutlinedDrawn,
} from "@ant-design/icons";
import type { ComponentType } from "react";

function besideWords(Icon: ComponentType<AntdIconProps>) {
  return function Decoration(props: AntdIconProps) {
    return <Icon role="presentation" aria-label={undefined} {...props} />;
  };
}

export const ApartmentOutlined = besideWords(ApartmentOutlinedDrawn);
export const AppstoreOutlined = besideWords(AppstoreOutlinedDrawn);
export const BranchesOutlined = besideWords(BranchesOutlinedDrawn);
export const CheckCircleFilled = besideWords(CheckCircleFilledDrawn);
export const CheckOutlined = besideWords(CheckOutlinedDrawn);
export const ClockCircleOutlined = besideWords(ClockCircleOutlinedDrawn);
export const CloseCircleFilled = besideWords(CloseCircleFilledDrawn);
export const CloudServerOutlined = besideWords(CloudServerOutlinedDrawn);
export const CodeOutlined = besideWords(CodeOutlinedDrawn);
export const CopyOutlined = besideWords(CopyOutlinedDrawn);
export const DatabaseOutlined = besideWords(DatabaseOutlinedDrawn);
export const DeleteOutlined = besideWords(DeleteOutlinedDrawn);
export const DeploymentUnitOutlined = besideWords(DeploymentUnitOutlinedDrawn);
export const DownOutlined = besideWords(DownOutlinedDrawn);
export const DownloadOutlined = besideWords(DownloadOutlinedDrawn);
export const EditOutlined = besideWords(EditOutlinedDrawn);
export const EyeInvisibleOutlined = besideWords(EyeInvisibleOutlinedDrawn);
export const EyeOutlined = besideWords(EyeOutlinedDrawn);
export const FireFilled = besideWords(FireFilledDrawn);
export const FireOutlined = besideWords(FireOutlinedDrawn);
export const GlobalOutlined = besideWords(GlobalOutlinedDrawn);
export const HighlightOutlined = besideWords(HighlightOutlinedDrawn);
export const HeartFilled = besideWords(HeartFilledDrawn);
export const HeartOutlined = besideWords(HeartOutlinedDrawn);
export const HistoryOutlined = besideWords(HistoryOutlinedDrawn);
export const HomeOutlined = besideWords(HomeOutlinedDrawn);
export const InboxOutlined = besideWords(InboxOutlinedDrawn);
export const LoadingOutlined = besideWords(LoadingOutlinedDrawn);
export const LockOutlined = besideWords(LockOutlinedDrawn);
export const MenuFoldOutlined = besideWords(MenuFoldOutlinedDrawn);
export const MenuOutlined = besideWords(MenuOutlinedDrawn);
export const MenuUnfoldOutlined = besideWords(MenuUnfoldOutlinedDrawn);
export const MessageOutlined = besideWords(MessageOutlinedDrawn);
export const MoonOutlined = besideWords(MoonOutlinedDrawn);
export const MoreOutlined = besideWords(MoreOutlinedDrawn);
export const PauseCircleOutlined = besideWords(PauseCircleOutlinedDrawn);
export const PlusOutlined = besideWords(PlusOutlinedDrawn);
export const RedoOutlined = besideWords(RedoOutlinedDrawn);
export const RightCircleOutlined = besideWords(RightCircleOutlinedDrawn);
export const SafetyCertificateOutlined = besideWords(SafetyCertificateOutlinedDrawn);
export const SearchOutlined = besideWords(SearchOutlinedDrawn);
export const SettingOutlined = besideWords(SettingOutlinedDrawn);
export const StopOutlined = besideWords(StopOutlinedDrawn);
export const SunOutlined = besideWords(SunOutlinedDrawn);
export const TeamOutlined = besideWords(TeamOutlinedDrawn);
export const UpOutlined = besideWords(UpOutlinedDrawn);
export const UploadOutlined = besideWords(UploadOutlinedDrawn);
export const UserAddOutlined = besideWords(UserAddOutlinedDrawn);
export const UserOutlined = besideWords(UserOutlinedDrawn);
export const VerticalAlignBottomOutlined = besideWords(VerticalAlignBottomOutlinedDrawn);
export const WalletOutlined = besideWords(WalletOutlinedDrawn);
export const WarningOutlined = besideWords(WarningOutlinedDrawn);
export const ArrowLeftOutlined = besideWords(ArrowLeftOutlinedDrawn);
export const ArrowUpOutlined = besideWords(ArrowUpOutlinedDrawn);
export const FileOutlined = besideWords(FileOutlinedDrawn);
export const FileZipOutlined = besideWords(FileZipOutlinedDrawn);
export const FolderAddOutlined = besideWords(FolderAddOutlinedDrawn);
export const FolderOpenOutlined = besideWords(FolderOpenOutlinedDrawn);
export const FolderOutlined = besideWords(FolderOutlinedDrawn);
export const LinkOutlined = besideWords(LinkOutlinedDrawn);
export const PlayCircleOutlined = besideWords(PlayCircleOutlinedDrawn);
